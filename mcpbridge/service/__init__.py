"""
Life cycles: the daemon, its upstreams, their sessions and what an operator sees of them.
"""
