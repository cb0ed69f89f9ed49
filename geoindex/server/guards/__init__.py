"""What stands before every request: ASGI middleware that hands on, refuses, or changes headers."""
