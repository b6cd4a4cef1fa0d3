module headrace.dev/benchmarks/load

go 1.22
