"""
OAuth 2.1 as a client, as far as it is a matter of deciding: what is asked, in which order, and what is believed.

Nothing here opens a connection, knows the time or draws a random number.
"""
