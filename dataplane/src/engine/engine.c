typedef int ferrite_stub;
