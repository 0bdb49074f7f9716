FROM busybox
ENV A=1 B="two words" C=three\ words
ENV old value with spaces
ENV D=$A${B}x
