from trunkline.core.inbox import Inbox as Inbox
