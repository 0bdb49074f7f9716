FROM busybox
ARG A=1
ARG B
ARG C=$A$A
RUN echo $A$B$C
