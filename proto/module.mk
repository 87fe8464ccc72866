proto_GEN := $(patsubst proto/%.proto,$(GEN)/proto/%.pb-c.c,$(wildcard proto/*.proto))
