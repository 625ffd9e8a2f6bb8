"""
The daemon for C{twistd -ny mcpbridge.tac}; settings come from the environment.
"""

from twisted.application.service import Application

from mcpbridge.tap import Options, makeService

options = Options()
options.parseOptions([])
application = Application("mcpbridge")
makeService(options).setServiceParent(application)
