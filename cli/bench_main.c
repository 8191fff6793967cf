/*
 * paddock-bench - paddock bench as a program of its own.
 */
#include "cli/bench_io.h"

int main(int argc, char **argv)
{
	return bench_run("paddock-bench", argc, argv);
}
