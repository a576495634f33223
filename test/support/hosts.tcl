# hosts.tcl - one job for each host language that reaches SQLite: load the extension, make a table,
# write typed values through parameters in a transaction, roll one back, update, join with an
# ordinary table, meet a constraint, and read the stored schema through a second connection
# (test/sql/hosts/job.*).

set host_job_done {undone 1 a|integer|1 b|real|2.5 c|text|'changed' d|null|NULL e|blob|X'00FF' sea\
    constraint 3 changed}

# What the job printed, in a folder of its own.
proc host_job {name args} {
  file mkdir $::dir/$name
  set from [pwd]
  cd $::dir/$name
  try {exec {*}$args 2>@1} finally {cd $from}
}

# HAS fails where the host, or its module for SQLite, is not there.
proc test_host {name packaged has job} {
  if {[auto_execok [lindex $has 0]] eq {} || [catch {exec {*}$has 2>@1}]} {
    lacks $name $packaged "needs [join $has]"
    return
  }
  do_test $name [list host_job $name {*}$job] [join $::host_job_done \n]
}
