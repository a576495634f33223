# child.tcl - the other end of child_start: reads "LENGTH\nSCRIPT", answers "LENGTH\n{code result
# errorcode}" until its input ends.
fconfigure stdin -translation binary
fconfigure stdout -translation binary -buffering full
while {[gets stdin length]>=0} {
  set code [catch {uplevel #0 [encoding convertfrom utf-8 [read stdin $length]]} result options]
  set errorcode [expr {$code==1 ? [dict get $options -errorcode] : {}}]
  set bytes [encoding convertto utf-8 [list $code $result $errorcode]]
  puts -nonewline "[string length $bytes]\n$bytes"
  flush stdout
}
