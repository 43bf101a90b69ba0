"""The command line. Its modules import little but click: what a command needs is loaded when it is called."""
