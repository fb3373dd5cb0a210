from trunkline.core.phases import *
