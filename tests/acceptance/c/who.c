/* Prints whose rights it has. */
#include <stdio.h>
#include <unistd.h>

int main(void) { printf("%d\n", geteuid()); }
