"""What tests of programs, drivers and brokers need."""
