"""
The eras: families of protocol revisions that share one life cycle. One module each; nobody else may take anything
out of a message.
"""
