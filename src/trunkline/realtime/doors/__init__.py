"""The doors through which clients come in. No other module of rooms imports a driver."""
