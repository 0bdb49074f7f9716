FROM busybox
LABEL a=1 b="two words" "c d"=e
LABEL old form
