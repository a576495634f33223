# cpp.tcl - C++ programs over ext/cpp/maph.hpp, for the tests.
#
#   cpp_compilers  g++ and clang++, those there are; each that is not counts as skipped
#   cpp_variants  {compiler standard ...}: each compiler with its C++17 and C++23
#   cpp_build COMPILER STANDARD NAME SOURCES ?FROM TO ...?  $dir/NAME, warnings as errors; in the
#   sources FROM is replaced by TO

set cpp_warnings {-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion\
    -Wold-style-cast -Wnon-virtual-dtor -Werror}

proc cpp_compilers {} {
  lmap compiler {g++ clang++} {
    if {![requires $compiler "$::test_name with $compiler"]} continue
    set compiler
  }
}
proc cpp_variants {} {
  concat {*}[lmap compiler [cpp_compilers] {list $compiler c++17 $compiler c++2b}]
}
proc cpp_build {compiler standard name sources args} {
  set copies {}
  foreach source $sources {
    set in [open $source]
    set copy $::dir/[file tail $source]
    set out [open $copy w]
    puts -nonewline $out [string map $args [read $in]]
    close $in
    close $out
    lappend copies $copy
  }
  # The optimizer sees more to warn of; once is enough, and a sanitizer sees more without it.
  set level [expr {"$compiler $standard" eq "g++ c++17" && ![regexp fsanitize $::cpp_warnings] \
      ? "-O2" : "-O0"}]
  exec $compiler -std=$standard $level {*}$::cpp_warnings -I$::top/ext/cpp -I$::top/core \
      -I$::top/test/cpp -o $::dir/$name {*}$copies \
    $::build/libmaph.a {*}[core_libraries] -pthread 2>@1
}
# What a program that links libmaph.a statically needs besides, as the pkg-config file says it.
proc core_libraries {} {
  set f [open $::top/tool/maph.pc.in]
  regexp -line {^Libs\.private:(.*)$} [read $f] -> libraries
  close $f
  return $libraries
}
