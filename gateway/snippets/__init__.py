"""Configurations of the proxies that ask this gateway about each request, ready to use."""
