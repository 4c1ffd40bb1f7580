"""The platform API of the sandbox: state, validation and the documented status codes, one module an area."""
