"""The life of subscriptions: clients enter rooms, recover, and leave; the broker and the presence store are told."""
