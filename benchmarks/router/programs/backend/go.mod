module headrace.dev/benchmarks/backend

go 1.21
