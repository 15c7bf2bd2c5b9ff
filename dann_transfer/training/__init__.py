"""One Ignite loop, in phases: it knows what a phase asks for, but not the methods."""
