"""
What a relay does when it cannot just sleep: start a daemon, do without one for a while, carry bytes by hand.

Standard library only, and imported only when it is needed.
"""
