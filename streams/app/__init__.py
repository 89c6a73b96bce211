"""The Faust apps: a factory for each role's app, the process around it, its health page."""
