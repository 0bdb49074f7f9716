# escape=`
FROM busybox
RUN echo a `
 && echo b
ENV P=c:\x
