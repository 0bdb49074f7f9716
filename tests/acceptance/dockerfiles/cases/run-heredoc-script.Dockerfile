FROM busybox
RUN <<EOF
#!/bin/sh
echo three > /three
EOF
