"""
What outlives the daemon on behalf of one client: a file that its relay keeps open and whoever serves it writes in.

Standard library only, for the relay itself uses it when there is no daemon. Every step leaves the file such that
whoever comes next can go on, wherever the one before was killed.
"""
