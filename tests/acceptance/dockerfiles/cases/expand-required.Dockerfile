FROM busybox
ENV A="${N:?is needed}"
