from busybox
run true
env a=b
