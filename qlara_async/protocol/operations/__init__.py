"""The operations of the API, by area; `registry` has them all.

Client, sandbox and OpenAPI document are made from the same entries, so that a path is said once.
"""
