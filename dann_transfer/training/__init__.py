"""One Ignite loop, in phases: it knows what a phase asks for, and no method."""
