"""Bytes and keys in, claims or a :class:`~gateway.errors.TokenError` out. No I/O, no clock of its own."""
