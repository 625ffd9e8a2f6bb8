"""
The local HTTP endpoint: for clients that speak Streamable HTTP themselves and so need no relay. Off unless asked for.
"""
