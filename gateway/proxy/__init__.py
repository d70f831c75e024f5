"""Enforcement point 1: the reverse proxy."""
