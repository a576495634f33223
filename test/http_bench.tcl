# http_bench.tcl - maph-server against nginx (a static file) and webdis with redis, under wrk: make
# bench-http
#
#   build/maphtest test/http_bench.tcl ?SECONDS a measurement, 3? ?PATTERN of their names?
#
# 200-byte values, keep-alive, everything on this machine.  Each line has requests a second, the
# server's CPU time a request (all of its processes, from /proc), how often its threads gave the
# processor away by themselves, a request (also from /proc), and wrk's 50th and 99th percentile.
# nginx and webdis are left out where they are not installed.  GETs come in rounds, all servers one
# after the other in each, so that what else the machine does befalls them alike; the
# median counts.  The last row is what connections cost that ask for nothing.  Nothing here judges:
# the last lines say how the figures stand to each other.

source [file dirname [info script]]/support/tester.tcl
source [file dirname [info script]]/support/http_client.tcl
fconfigure stdout -buffering line
if {[auto_execok wrk] eq {}} {
  puts "make bench-http needs: apt-get install wrk (nginx, redis-server and webdis to compare)"
  exit 2
}
lassign $argv seconds pattern
if {![string is double -strict $seconds]} {set seconds 3}
if {$pattern eq {}} {set pattern *}
set value [string repeat x 200]
array set pids {}

proc wait_for_port {port} {
  for {set i 0} {$i<2000} {incr i} {
    if {![catch {socket 127.0.0.1 $port} channel]} {close $channel; return}
    after 5
  }
  error "nothing listens on port $port"
}
proc children {pid} {
  set all $pid
  foreach file [glob -nocomplain /proc/$pid/task/*/children] {
    if {[catch {exec cat $file} list]} continue     ;# that thread has ended
    foreach child $list {lappend all {*}[children $child]}
  }
  return $all
}
# CPU time so far of a server's processes, in seconds.
proc cpu {name} {
  set ticks 0
  foreach root $::pids($name) {
    foreach pid [children $root] {
      set fields [regsub {^.*\) } [exec cat /proc/$pid/stat] {}]
      incr ticks [expr {[lindex $fields 11]+[lindex $fields 12]}]
    }
  }
  expr {$ticks/100.0}
}
# How often its threads have waited for something so far.
proc switches {name} {
  set sum 0
  foreach root $::pids($name) {
    foreach pid [children $root] {
      foreach file [glob -nocomplain /proc/$pid/task/*/status] {
        if {[catch {exec cat $file} text]} continue     ;# that thread has ended
        if {[regexp {\nvoluntary_ctxt_switches:\s+(\d+)} $text -> n]} {incr sum $n}
      }
    }
  }
  return $sum
}
proc in_seconds {text} {
  if {![regexp {^([0-9.]+)(us|ms|s|m)$} $text -> number unit]} {
    error "wrk says $text where a time should be"
  }
  expr {$number*[dict get {us 1e-6 ms 1e-3 s 1 m 60} $unit]}
}

# One measurement: {rate R cpu US switches N p50 S p99 S}; {} when the pattern leaves it out.
proc measure {name server connections url {lua {}}} {
  if {![string match $::pattern $name]} {return {}}
  set script {}
  if {$lua ne {}} {
    set f [open $::dir/wrk.lua w]; puts $f $lua; close $f
    set script [list -s $::dir/wrk.lua]
  }
  exec wrk -t1 -c$connections -d1s {*}$script $url
  set before [cpu $server]
  set slept [switches $server]
  set text [exec wrk -t[expr {min(2, $connections)}] -c$connections -d${::seconds}s --latency \
      {*}$script $url]
  set used [expr {[cpu $server]-$before}]
  set slept [expr {[switches $server]-$slept}]
  regexp {(\d+) requests in} $text -> requests
  regexp {Requests/sec:\s+([0-9.]+)} $text -> rate
  regexp -line {^ +50% +(\S+)$} $text -> p50
  regexp -line {^ +99% +(\S+)$} $text -> p99
  regexp {Non-2xx or 3xx responses: (\d+)} $text -> bad
  set result [dict create rate $rate cpu [expr {$used*1e6/max($requests,1)}] \
      switches [expr {double($slept)/max($requests,1)}] p50 [in_seconds $p50] p99 [in_seconds $p99]]
  set form "%-34s %9.0f/s  %7.1f us CPU  %5.1f switches   p50 %7.0f us   p99 %8.0f us%s"
  puts [format $form $name $rate \
      [dict get $result cpu] [dict get $result switches] \
        [expr {[dict get $result p50]*1e6}] [expr {[dict get $result p99]*1e6}] \
        [expr {[info exists bad] ? "   $bad ANSWERS WERE ERRORS" : ""}]]
  return $result
}
# Of some measurements the median of each figure; {} of none.
proc median {results} {
  set results [lsearch -all -inline -not -exact $results {}]
  if {$results eq {}} {return {}}
  foreach member {rate cpu switches p50 p99} {
    set sorted [lsort -real [lmap result $results {dict get $result $member}]]
    dict set all $member [lindex $sorted [expr {[llength $sorted]/2}]]
  }
  return $all
}
proc resident {pid} {
  regexp {VmRSS:\s+(\d+) kB} [exec cat /proc/$pid/status] -> kb
  return $kb
}
# What so many connections cost that have had an answer and ask nothing more.
proc measure_idle {name count} {
  if {![string match $::pattern $name]} return
  set before [resident $::pids(maph)]
  set channels {}
  set request "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
  for {set i 0} {$i<$count} {incr i} {
    if {[catch {socket 127.0.0.1 $::server(port)} channel]} break
    fconfigure $channel -translation binary -buffering none
    puts -nonewline $channel $request
    raw_reply $channel
    lappend channels $channel
  }
  set open [exec sh -c "ls /proc/$::pids(maph)/fd | wc -l"]
  set used [cpu maph]
  after [expr {int($::seconds*1000)}]
  puts [format "%-34s %9.1f MB more   %.2f s CPU in %s s%s" $name \
      [expr {([resident $::pids(maph)]-$before)/1024.0}] [expr {[cpu maph]-$used}] $::seconds \
      [expr {$open<$count ? "   ONLY $open ARE OPEN: raise ulimit -n" : ""}]]
  foreach channel $channels {close $channel}
}
proc ratio {label one other member} {
  if {$one eq {} || $other eq {} || [dict get $other $member]==0} return
  puts [format "%-70s %6.2f" $label \
      [expr {[dict get $one $member]/double([dict get $other $member])}]]
}
proc put_script {path} {
  return "wrk.method = 'PUT'; wrk.body = '$::value'
local n = math.random(1, 1000000)
request = function() n = (n + 7919)%100000
return wrk.format(nil, (string.gsub('$path', 'KEY', n))) end"
}

# -------------------------------------------------------------------------------------- the servers
set failed [catch {
  start_server --access-log off --idle-timeout 1000
  set pids(maph) $server(pid)
  set maph http://127.0.0.1:$server(port)
  http POST /stores/b
  http PUT /stores/b/keys/key -body $value
  set lines {}
  for {set i 0} {$i<100000} {incr i} {lappend lines "{\"key\":\"$i\",\"value\":\"$value\"}"}
  http POST /stores/b/import -body [join $lines \n]

  if {[auto_execok nginx] ne {}} {
    set nginx_port [maph_hold_port]
    file mkdir $dir/root
    set f [open $dir/root/key w]; puts -nonewline $f $value; close $f
    set f [open $dir/nginx.conf w]
    puts $f "daemon off; pid $dir/nginx.pid; error_log $dir/error.log; worker_processes\
        [exec nproc]; [expr {[capable root] ? "user root;" : ""}]
  events { worker_connections 8192; }
  http { access_log off; keepalive_requests 1000000000; client_body_temp_path $dir/1;\
      proxy_temp_path $dir/2;
      fastcgi_temp_path $dir/3;
      uwsgi_temp_path $dir/4;
      scgi_temp_path $dir/5;
  server { listen 127.0.0.1:$nginx_port; root $dir/root; } }"
    close $f
    set pids(nginx) [exec nginx -p $dir -c $dir/nginx.conf -e $dir/error.log >& $dir/nginx.log &]
    wait_for_port $nginx_port
  }
  if {[auto_execok webdis] ne {} && [auto_execok redis-server] ne {}} {
    set redis_port [maph_hold_port]
    set pids(redis) [exec redis-server --port $redis_port --bind 127.0.0.1 --save {} --appendonly \
        no --dir $dir >& $dir/redis.log &]
    wait_for_port $redis_port
    set webdis_port [maph_hold_port]
    set f [open $dir/webdis.json w]
    puts $f "{\"redis_host\":\"127.0.0.1\",\"redis_port\":$redis_port,\"http_host\":\"127.0.0.1\",\"http_port\":$webdis_port,\"threads\":2,\"pool_size\":10,\"daemonize\":false,\"websockets\":false,\"database\":0,\"verbosity\":1,\"logfile\":\"$dir/webdis.log\"}"
    close $f
    set pids(webdis) [exec webdis $dir/webdis.json >& $dir/webdis.out &]
    wait_for_port $webdis_port
    lappend pids(webdis) $pids(redis)
    exec curl -s -X PUT -d $value http://127.0.0.1:$webdis_port/SET/key
  }

# -------------------------------------------------------------------------------------- the figures
  puts "$seconds s each, [exec nproc] cores, [exec uname -r]"
  foreach c {1 8 64 100 1000} {
    array unset rounds
    foreach round {1 2 3} {
      lappend rounds(maph) [measure get-maph-$c maph $c $maph/stores/b/keys/key]
      lappend rounds(nginx) [expr {[info exists pids(nginx)] ?
          [measure get-nginx-$c nginx $c http://127.0.0.1:$nginx_port/key] : {}}]
      lappend rounds(webdis) [expr {[info exists pids(webdis)] && $c<100 ?
          [measure get-webdis-$c webdis $c http://127.0.0.1:$webdis_port/GET/key] : {}}]
    }
    set get($c) [median $rounds(maph)]
    set nginx_get($c) [median $rounds(nginx)]
    set webdis_get($c) [median $rounds(webdis)]
  }
  measure_idle get-idle-maph-10000 10000
  foreach c {1 8 64} {
    set put($c) [measure put-off-maph-$c maph $c $maph [put_script /stores/b/keys/KEY?sync=off]]
    set webdis_put($c) {}
    if {[info exists pids(webdis)]} {
      set webdis_put($c) [measure put-webdis-$c webdis $c http://127.0.0.1:$webdis_port \
          [put_script /SET/KEY]]
    }
  }
  foreach c {1 8 64} {
    set full($c) [measure put-full-maph-$c maph $c $maph [put_script /stores/b/keys/KEY?sync=full]]
  }
  set operations {}
  for {set i 0} {$i<1000} {incr i} {
    lappend operations "{\"op\":\"get\",\"key\":\"[expr {$i*97%100000}]\"}"
  }
  set batch [measure batch-1000-gets-maph-1 maph 1 $maph/stores/b/batch \
      "wrk.method = 'POST'; wrk.body = '\[[join $operations ,]\]'"]

  puts {}
  foreach {figure member} {{CPU a GET} cpu {GETs a second} rate {p99 of GET} p99} {
    foreach c {1 8 64 1000} {
      ratio "$figure, maph to nginx, $c connection[expr {$c>1 ? "s" : ""}]" $get($c) \
          $nginx_get($c) $member
    }
  }
  ratio "CPU a GET, maph to webdis, 8 connections" $get(8) $webdis_get(8) cpu
  ratio "GETs a second, 1000 connections to 100" $get(1000) $get(100) rate
  ratio "PUT a second with sync=off, maph to webdis, 8 connections" $put(8) $webdis_put(8) rate
  ratio "CPU a PUT with sync=off, maph to webdis, 64 connections" $put(64) $webdis_put(64) cpu
  ratio "PUT a second with sync=full, 64 connections to one (group commit)" $full(64) $full(1) rate
  if {$full(64) ne {}} {
    puts [format "%-70s %6.1f" "switches of threads a PUT with sync=full, 64 connections" \
        [dict get $full(64) switches]]
  }
  if {$batch ne {}} {
    puts [format "%-70s %6.0f" "keys a second of one core, batches of 1000 gets" \
        [expr {1000/[dict get $batch cpu]*1e6}]]
  }
} message options]
foreach name [array names pids] {
  if {$name ne "maph"} {foreach pid $pids($name) {catch {send_signal TERM $pid}}}
}
stop_server
file delete -force $dir
if {$failed} {return -options $options $message}
