# xxh3.tcl - XXH3-64 with a seed, in plain Tcl, for readers of the file format that share no code
# with core/.
#   xxh3 BYTES ?SEED?   -> the hash, 0 .. 2^64-1
namespace eval xxh {
  variable mask 0xFFFFFFFFFFFFFFFF
  variable p32_1 0x9E3779B1 p32_2 0x85EBCA77 p32_3 0xC2B2AE3D
  variable p1 0x9E3779B185EBCA87 p2 0xC2B2AE3D27D4EB4F p3 0x165667B19E3779F9 p4 0x85EBCA77C2B2AE63 \
      p5 0x27D4EB2F165667C5
  variable secret [binary format H* [string map {" " "" "\n" ""} {
    b8fe6c3923a44bbe7c01812cf721ad1c ded46de9839097db7240a4a4b7b3671f \
        cb79e64eccc0e578825ad07dccff7221 b8084674f743248ee03590e6813a264c
    3c2852bb91c300cb88d0658b1b532ea3 71644897a20df94e3819ef46a9deacd8 \
        a8fa763fe39c343ff9dcbbc7c70b4f1d 8a51e04bcdb45931c89f7ec9d9787364
    eac5ac8334d3ebc3c581a0fffa1363eb 170ddd51b7f0da49d316552629d4689e \
        2b16be587d47a1fc8ff8b8d17ad031ce 45cb3a8f95160428afd7fbcabb4b407e}]]

  proc u64 {bytes at} {binary scan $bytes @${at}wu v; return $v}
  proc u32 {bytes at} {binary scan $bytes @${at}iu v; return $v}
  proc fold {a b} {
    variable mask
    set product [expr {$a*$b}]
    expr {($product & $mask) ^ ($product>>64)}
  }
  proc rotate {v n} {
    variable mask
    expr {(($v<<$n) | ($v>>(64-$n))) & $mask}
  }
  proc swap64 {v} {
    binary scan [binary format W $v] wu swapped
    return $swapped
  }
  proc avalanche {h} {
    variable mask
    set h [expr {(($h ^ ($h>>37))*0x165667919E3779F9) & $mask}]
    expr {$h ^ ($h>>32)}
  }
  proc avalanche64 {h} {
    variable mask; variable p2; variable p3
    set h [expr {(($h ^ ($h>>33))*$p2) & $mask}]
    set h [expr {(($h ^ ($h>>29))*$p3) & $mask}]
    expr {$h ^ ($h>>32)}
  }
  proc mix16 {in at key_at seed} {
    variable mask; variable secret
    fold [expr {[u64 $in $at] ^ (([u64 $secret $key_at]+$seed) & $mask)}] \
         [expr {[u64 $in [expr {$at+8}]] ^ (([u64 $secret [expr {$key_at+8}]]-$seed) & $mask)}]
  }

  proc upto16 {in n seed} {
    variable mask; variable secret
    if {$n==0} {return [avalanche64 [expr {$seed ^ [u64 $secret 56] ^ [u64 $secret 64]}]]}
    if {$n<4} {
      binary scan $in cu* bytes
      set joined [expr {[lindex $bytes 0]<<16 | [lindex $bytes [expr {$n>>1}]]<<24 | \
          [lindex $bytes end] | $n<<8}]
      return [avalanche64 [expr {$joined ^ ((([u32 $secret 0] ^ [u32 $secret 4])+$seed) & $mask)}]]
    }
    if {$n<=8} {
      binary scan [binary format I [expr {$seed & 0xFFFFFFFF}]] iu low
      set seed [expr {$seed ^ $low<<32}]
      set h [expr {([u32 $in [expr {$n-4}]]+([u32 $in 0]<<32)) ^ ((([u64 $secret 8] ^ \
          [u64 $secret 16])-$seed) & $mask)}]
      set h [expr {(($h ^ [rotate $h 49] ^ [rotate $h 24])*0x9FB21C651E98DF25) & $mask}]
      set h [expr {(($h ^ (($h>>35)+$n))*0x9FB21C651E98DF25) & $mask}]
      return [expr {$h ^ ($h>>28)}]
    }
    set low [expr {[u64 $in 0] ^ ((([u64 $secret 24] ^ [u64 $secret 32])+$seed) & $mask)}]
    set high [expr {[u64 $in [expr {$n-8}]] ^ ((([u64 $secret 40] ^ [u64 $secret 48])-$seed) & \
        $mask)}]
    avalanche [expr {($n+[swap64 $low]+$high+[fold $low $high]) & $mask}]
  }

  proc upto128 {in n seed} {
    variable mask; variable p1
    set acc [expr {$n*$p1}]
    for {set i [expr {($n-1)/32}]} {$i>=0} {incr i -1} {
      incr acc [mix16 $in [expr {16*$i}] [expr {32*$i}] $seed]
      incr acc [mix16 $in [expr {$n-16*($i+1)}] [expr {32*$i+16}] $seed]
    }
    avalanche [expr {$acc & $mask}]
  }

  proc upto240 {in n seed} {
    variable mask; variable p1
    set acc [expr {$n*$p1}]
    for {set i 0} {$i<8} {incr i} {incr acc [mix16 $in [expr {16*$i}] [expr {16*$i}] $seed]}
    set acc [avalanche [expr {$acc & $mask}]]
    for {} {$i<$n/16} {incr i} {incr acc [mix16 $in [expr {16*$i}] [expr {16*($i-8)+3}] $seed]}
    incr acc [mix16 $in [expr {$n-16}] 119 $seed]
    avalanche [expr {$acc & $mask}]
  }

  # One stripe of 64 bytes into the eight lanes.
  proc stripe {lanes in at key key_at} {
    variable mask
    for {set i 0} {$i<8} {incr i} {
      set data [u64 $in [expr {$at+8*$i}]]
      set keyed [expr {$data ^ [u64 $key [expr {$key_at+8*$i}]]}]
      lset lanes [expr {$i^1}] [expr {([lindex $lanes [expr {$i^1}]]+$data) & $mask}]
      lset lanes $i [expr {([lindex $lanes $i]+($keyed & 0xFFFFFFFF)*($keyed>>32)) & $mask}]
    }
    return $lanes
  }

  proc long {in n seed} {
    variable mask; variable secret; variable p32_1; variable p32_2; variable p32_3
    variable p1; variable p2; variable p3; variable p4; variable p5
    set key {}
    for {set i 0} {$i<192} {incr i 16} {
      append key [binary format ww [expr {([u64 $secret $i]+$seed) & $mask}] \
          [expr {([u64 $secret [expr {$i+8}]]-$seed) & $mask}]]
    }
    set lanes [list $p32_3 $p1 $p2 $p3 $p4 $p32_2 $p5 $p32_1]
    set stripes [expr {($n-1)/64}]
    for {set s 0} {$s<$stripes} {incr s} {
      set lanes [stripe $lanes $in [expr {64*$s}] $key [expr {8*($s%16)}]]
      if {$s%16==15} {
        for {set i 0} {$i<8} {incr i} {
          set lane [lindex $lanes $i]
          lset lanes $i [expr {(($lane ^ ($lane>>47) ^ [u64 $key [expr {128+8*$i}]])*$p32_1) & \
              $mask}]
        }
      }
    }
    set lanes [stripe $lanes $in [expr {$n-64}] $key 121]
    set h [expr {$n*$p1}]
    for {set i 0} {$i<4} {incr i} {
      incr h [fold [expr {[lindex $lanes [expr {2*$i}]] ^ [u64 $key [expr {11+16*$i}]]}] \
          [expr {[lindex $lanes [expr {2*$i+1}]] ^ [u64 $key [expr {19+16*$i}]]}]]
    }
    avalanche [expr {$h & $mask}]
  }
}

proc xxh3 {bytes {seed 0}} {
  set n [string length $bytes]
  if {$n<=16} {return [xxh::upto16 $bytes $n $seed]}
  if {$n<=128} {return [xxh::upto128 $bytes $n $seed]}
  if {$n<=240} {return [xxh::upto240 $bytes $n $seed]}
  xxh::long $bytes $n $seed
}
