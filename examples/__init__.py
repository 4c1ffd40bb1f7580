"""Examples of qlara_async. Each is run by the tests."""
