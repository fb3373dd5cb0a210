"""The Centrifuge client protocol: its messages, their two encodings, and clients without a protocol."""
