FROM --platform=x busybox
