"""The demo's make-believe world: a bicycle workshop behind the gateway, and a network that its visitors can travel on.

Nothing here judges a session, and nothing outside ``gateway demo`` uses it.
"""
