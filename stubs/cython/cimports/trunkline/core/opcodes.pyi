from trunkline.core.opcodes import *
