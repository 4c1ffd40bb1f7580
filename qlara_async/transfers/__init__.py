"""Files on their way to the gateway and from it: streamed, bounded, with the disk off the event loop."""
