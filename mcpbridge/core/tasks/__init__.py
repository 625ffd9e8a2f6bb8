"""
Tasks: calls that go on behind a handle, in two dialects, and whoever speaks none of them.
"""
