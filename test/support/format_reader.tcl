# format_reader.tcl - a reader of the file format in plain Tcl, written from core/format.h: it
# shares no code with core/.  It comes with xxh3.tcl.
#   open_image FILE          the file's bytes, for all that follows
#   read_log COMMITTED SALT  -> {OFFSET RECORD ...} of puts and deletes; checksums, chain and counts
#                            fit.  ::kinds counts, ::transactions and ::totals tell
#   look_up KEY RECORDS      -> the offset that the index leads to, or {}
#   frozen_place KEY RECORDS -> the offset or place that the perfect hash (pilot) leads to, or {}
#   lost_keys, wrong_links, wrong_versions, totals_of, live_keys, differences
#   read_order COMMITTED SALT RECORDS
#                            -> {TO LIFE RUNS}; a run is {FROM TO {OFFSET ...}}

proc open_image {file} {
  set f [open $file rb]
  set ::image [read $f]
  close $f
}

proc word {at} {binary scan $::image @${at}wu v; return $v}
proc half {at} {binary scan $::image @${at}iu v; return $v}
proc short {at} {binary scan $::image @${at}su v; return $v}
proc byte {at} {binary scan $::image @${at}cu v; return $v}
proc number {at size} {
  set v 0
  while {$size>0} {set v [expr {$v<<8 | [byte [expr {$at+[incr size -1]}]]}]}
  return $v
}
proc bytes {at n} {string range $::image $at [expr {$at+$n-1}]}
proc version_of {at} {expr {[word [expr {$at+24}]] & 0xFFFFFFFFFFFF}}
proc offset_of {at} {expr {([half [expr {$at+20}]] | [byte [expr {$at+30}]]<<32)*8}}

proc sized {at n} {
  set v 0
  for {set i 0} {$i<$n} {incr i} {incr v [expr {[byte [expr {$at+$i}]]<<(8*$i)}]}
  return $v
}
proc media_type {attributes} {
  set media {}
  while {[binary scan $attributes cucu tag n]==2} {
    if {$tag==1} {set media [string range $attributes 2 [expr {1+$n}]]}
    set attributes [string range $attributes [expr {2+$n}] end]
  }
  return $media
}
proc type_name {flags} {lindex {blob text json integer real null} [expr {$flags & 7}]}

# A put or delete, taken apart.
proc data_record {at kind flags} {
  set key_size [short [expr {$at+14}]]
  set value_size [half [expr {$at+16}]]
  set p [expr {$at+32}]
  set expires 0
  set attributes_size 0
  if {$flags & 8} {set expires [word $p]; incr p 8}
  if {$flags & 16} {set attributes_size [word $p]; incr p 8}
  set media [media_type [bytes [expr {$p+$key_size+$value_size}] $attributes_size]]
  set padding [expr {8*[byte [expr {$at+31}]]}]
  dict create kind $kind key [bytes $p $key_size] value [bytes [expr {$p+$key_size}] $value_size] \
      version [version_of $at] expires $expires \
    type [type_name $flags] key_is_text \
    [expr {($flags & 32)!=0}] key_flags [expr {$flags & 96}] media_type $media \
    link [word $at] prev [offset_of $at] size \
    [expr {($p-$at+$key_size+$value_size+$attributes_size+7)/8*8+$padding}]
}

# ---------------------------------------------------------------------- the short form, section 11
proc has_short {} {expr {([word 16] & 8)!=0}}
proc moved_bit {i} {
  set payload [word 80]
  set words [expr {$payload+[word 88]-([word [expr {$payload+8}]]+63)/64*8}]
  expr {([word [expr {$words+$i/64*8}]]>>($i%64)) & 1}
}
# The record that begins at an address, taken apart.
proc short_record {at salt} {
  lassign [list [byte 112] [byte 113] [byte 114]] k v d
  set flags [byte [expr {$at+4}]]
  set p [expr {$at+5}]
  set key_size [sized $p $k]
  set value_size [sized [incr p $k] $v]
  set version [expr {[word 136]-[sized [incr p $v] $d]}]
  incr p $d
  set expires 0
  set attributes_size 0
  if {$flags & 8} {set expires [word $p]; incr p 8}
  if {$flags & 16} {set attributes_size [short $p]; incr p 2}
  set size [expr {$p-$at+$key_size+$value_size+$attributes_size}]
  set sum [xxh3 [bytes [expr {$at+4}] [expr {$size-4}]] [expr {$salt ^ $at}]]
  if {[half $at]!=($sum & 0xFFFFFFFF)} {error "checksum at $at"}
  dict create kind 1 key [bytes $p $key_size] value [bytes [expr {$p+$key_size}] $value_size] \
      version $version expires $expires type [type_name $flags] \
      key_is_text [expr {($flags & 32)!=0}] key_flags [expr {$flags & 96}] \
      media_type [media_type [bytes [expr {$p+$key_size+$value_size}] $attributes_size]] \
      prev 0 size $size address $at \
      digested [expr {[half $at] | 1<<32 | $flags<<40 | $key_size<<48}]
}
# All of them: {PLACE RECORD ...}.
proc read_short {salt} {
  lassign [list [half 116] [word 120] [word 128] [word 80]] unit first past payload
  set all {}
  set at $first
  for {set i 0} {$i<[word [expr {$payload+8}]]} {incr i} {
    set record [short_record $at $salt]
    dict set record link [moved_bit $i]
    lappend all [expr {$first+8*$i}] $record
    set end [expr {$at+[dict get $record size]}]
    if {[half [expr {$payload+4}]]==1} {
      incr at $unit
    } else {
      set at [expr {$first+($end-$first+$unit-1)/$unit*$unit}]
    }
    if {[bytes $end [expr {$at-$end}]] ne [string repeat \0 [expr {$at-$end}]]} {
      error "zeros at $end"
    }
  }
  if {($at+7)/8*8!=$past} {error "the frozen records end at $at"}
  return $all
}
# Where the perfect hash leads, which is a pilot; section 4.
proc frozen_place {key records} {
  set mask 0xFFFFFFFFFFFFFFFF
  set payload [word 80]
  if {$payload==0} return
  set h [xxh3 $key [word 56]]
  lassign [lmap at {8 16 32 48} {word [expr {$payload+$at}]}] n first stride table
  lassign [lmap at {64 72 80} {word [expr {$payload+$at}]}] b m c
  set q [byte [expr {$payload+88+(($h*$b)>>64)}]]
  set number [expr {(((($h ^ (($q*0x9E3779B97F4A7C15) & $mask))*$c) & $mask)*$m)>>64}]
  if {$number>=$n} {
    set number [half [expr {$payload+64+(24+$b+3)/4*4+4*($number-$n)}]]
  }
  incr table $payload
  if {[half [expr {$payload+4}]]==1} {
    set print [byte [expr {$table+$number}]]
    set at [expr {$first+$number*$stride}]
  } else {
    set line [expr {$table+$number/16*64}]
    set print [byte [expr {$line+40+$number%16}]]
    set at [expr {[word $line]+[short [expr {$line+8+2*($number%16)}]]*([has_short] ? $stride : 8)}]
  }
  if {$print!=($h & 255)} return
  set place $at
  if {[has_short]} {
    set place [expr {$first+8*$number}]
    if {[dict get $records $place address]!=$at} {error "number $number leads to $at"}
  }
  if {[dict get $records $place key] eq $key} {return $place}
}

# The whole log: checksums, chain, totals.  -> {records: offset and record ...}; kinds are counted
# in ::kinds.
proc read_log {committed salt} {
  set mask 0xFFFFFFFFFFFFFFFF
  set all {}
  set chain 0
  set digest 0
  set back 0
  set operations 0
  set ::transactions {}
  for {set at 4096} {$at<$committed} {incr at $size} {
    if {[has_short] && $at==[word 120]} {
      foreach {place record} [set frozen [read_short $salt]] {
        set d [expr {(($digest ^ $place)*0x9E3779B97F4A7C15) & $mask}]
        set digest [expr {((($d<<29) | ($d>>35)) & $mask) ^ [dict get $record digested]}]
        incr operations
      }
      lappend all {*}$frozen
      set size [expr {[word 128]-$at}]
      continue
    }
    set kind [byte [expr {$at+12}]]
    set flags [byte [expr {$at+13}]]
    incr ::kinds($kind)
    switch $kind {
      1 - 2 {
        set record [data_record $at $kind $flags]
        set size [dict get $record size]
        set summed $size
        set d [expr {(($digest ^ $at)*0x9E3779B97F4A7C15) & $mask}]
        set digest [expr {((($d<<29) | ($d>>35)) & $mask) ^ [word [expr {$at+8}]]}]
        lappend all $at $record
        incr operations
      }
      3 - 4 {
        set size 64
        set summed 64
        set expected [xxh3 [binary format w $chain][bytes [expr {$at+12}] 44][binary format w \
            [expr {$kind==3 ? $digest : 0}]] $salt]
        set chain [word [expr {$at+56}]]
        if {$chain!=$expected} {error "chain at $at"}
        if {[offset_of $at]!=$back} {error "back at $at"}
        set back $at
        set digest 0
        if {$operations!=($kind==3 ? [half [expr {$at+16}]] : 0)} {error "operations at $at"}
        set operations 0
        lappend ::transactions [list $at $kind [version_of $at]]
        set ::totals [list [word [expr {$at+40}]] [word [expr {$at+48}]] [version_of $at]]
      }
      5 - 6 {
        set size [word [expr {$at+16}]]
        set summed 32
      }
      default {error "kind $kind at $at"}
    }
    if {[half [expr {$at+8}]]!=([xxh3 [bytes [expr {$at+12}] [expr {$summed-12}]] \
        [expr {$salt ^ $at}]] & 0xFFFFFFFF)} {error "checksum at $at"}
  }
  return $all
}

# The record that the index leads to, as section 3 says; {} for none.
proc look_up {key records} {
  set hash [xxh3 $key [word 56]]
  set root [word 272]
  set depth [expr {$root & 63}]
  set segment [word [expr {($root & ~63)+8*($hash>>(64-$depth))}]]
  while {$segment} {
    for {set i 0} {$i<256} {incr i} {
      set bucket [expr {$segment+64*((($hash & 255)+$i) & 255)}]
      for {set s 0} {$s<8} {incr s} {
        set slot [word [expr {$bucket+8*$s}]]
        if {$slot==0 || $slot>>41!=$hash>>41} continue
        set at [expr {($slot & 0xFFFFFFFFFF)*8}]
        if {[dict get $records $at key] eq $key} {return $at}
      }
      if {[word [expr {$bucket+56}]]==0} return
    }
    set segment [expr {[word [expr {$segment-32}]] & ~63}]
  }
}

proc newest_of {records} {
  set newest {}
  dict for {at record} $records {dict set newest [dict get $record key] $at}
  return $newest
}
proc lost_keys {records} {
  set lost {}
  dict for {key at} [newest_of $records] {
    set frozen [frozen_place $key $records]
    if {$frozen eq $at && [look_up $key $records] eq {}} continue
    if {[look_up $key $records] ne $at} {lappend lost $key}
    if {$frozen ne {} && ![dict get $records $frozen link]} {lappend lost $key}
  }
  return $lost
}
proc wrong_links {records} {
  set wrong {}
  set newest [newest_of $records]
  dict for {at record} $records {
    set prev [dict get $record prev]
    if {$prev && [dict get $records $prev key] ne [dict get $record key]} {lappend wrong $at}
    if {([dict get $record link]==0) != ([dict get $newest [dict get $record key]]==$at)} {
      lappend wrong $at
    }
  }
  return $wrong
}
# The records and bytes that are live.
proc totals_of {records} {
  set live 0
  set bytes 0
  dict for {at record} $records {
    if {[dict get $record kind]==1 && [dict get $record link]==0} {
      incr live
      incr bytes [dict get $record size]
    }
  }
  list $live $bytes
}
# Where a version is not as sections 2 and 10 say.
proc wrong_versions {transactions records} {
  set given [expr {([word 16] & 4)!=0}]
  set base [word 72]
  set wrong {}
  set before {}
  set at 0
  foreach transaction $transactions {
    lassign $transaction end kind version
    set is_base [expr {$kind==3 && $base>0 && $version==$base}]
    dict for {place record} $records {
      if {$place<$at || $place>$end} continue
      set own [dict get $record version]
      if {$is_base ? $own>$base : $given ? ($own<=$before || $own>$version) : $own!=$version} {
        lappend wrong $place
      }
    }
    if {$before ne {}} {
      set least [expr {$kind==3 ? $before+!$is_base : $given ? $before : ($before|0xFFFFFFFF)+1}]
      if {$version<$least || ($given && $kind==4 && $version!=$before)} {lappend wrong $end}
    }
    set before $version
    set at $end
  }
  return $wrong
}
# Those that a scan meets, in the order of the log.  GONE: keys whose expiry has passed.
proc live_keys {records gone} {
  set keys {}
  dict for {at record} $records {
    if {[dict get $record kind]==1 && [dict get $record link]==0 && \
        [dict get $record key] ni $gone} {lappend keys [dict get $record key]}
  }
  return $keys
}
# What the library reads otherwise.
proc differences {store records gone} {
  set wrong {}
  dict for {key at} [newest_of $records] {
    set record [dict get $records $at]
    if {[dict get $record kind]==2 || $key in $gone} {
      if {[$store exists $key]} {lappend wrong $key}
      continue
    }
    set entry [$store get_entry $key]
    foreach field {key value version expires type key_is_text media_type} {
      if {[dict get $entry $field] ne [dict get $record $field]} {
        lappend wrong $key $field [dict get $entry $field] [dict get $record $field]
      }
    }
  }
  return $wrong
}

# ------------------------------------------------------------------------------ the order of keys
proc summed {at from size salt} {xxh3 [bytes [expr {$at+$from}] $size] [expr {$salt ^ $at}]}

# As bytes; lsort by itself has zero bytes behind others.
proc in_order {keys} {lsort -command {string compare} $keys}

# What an entry's word is made of.
proc key_word {key shared} {
  binary scan [string range $key $shared [expr {$shared+7}]][string repeat \0 8] Wu word
  return $word
}
# Of a dense leaf: what it keeps of each entry's word, {first shift part}, and the bits of each
# place; its size behind them.
proc read_groups {at n word_size bits} {
  set words {}
  for {set i 0} {$i<$n} {incr i} {
    set group [expr {$at+80+($i/16)*($word_size+16)}]
    set shift [byte [expr {$group+$word_size}]]
    lappend words [list [number $group $word_size] $shift \
        [expr {$i%16==0 ? 0 : [byte [expr {$group+$word_size+$i%16}]]}]]
    if {$i==$n-1} {
      set unused [expr {15-$i%16}]
      if {[bytes [expr {$group+$word_size+$i%16+1}] $unused] ne [string repeat \0 $unused]} {
        error "zeros in the last group of $at"
      }
    }
  }
  set from [expr {$at+80+($n+15)/16*($word_size+16)}]
  set size [expr {($n*$bits+7)/8}]
  # Its first byte is the lowest: as one number.
  set all [number $from $size]
  if {$all>>$n*$bits!=0} {error "zeros behind the places of $at"}
  set places {}
  for {set i 0} {$i<$n} {incr i} {
    set place [expr {[word [expr {$at+64}]]+8*($i*[word [expr {$at+72}]]>>16)}]
    set place [expr {($place+8*($all>>$i*$bits & (1<<$bits)-1)) & 0xFFFFFFFFFFFFFFFF}]
    lappend places $place
  }
  list $words $places [expr {$from+$size-$at}]
}
# A node's head, words and places; an error names what is wrong.
proc read_node {at salt} {
  if {[word $at]!=[summed $at 8 56 $salt]} {error "sum of the node at $at"}
  set n [half [expr {$at+32}]]
  lassign [list 8 5 0 0x88888888 0] word_size place_size base kept first
  set wide [expr {[byte [expr {$at+49}]]==0}]
  if {!$wide} {
    set word_size [byte [expr {$at+49}]]
    set place_size [byte [expr {$at+50}]]
    set base [word [expr {$at+8}]]
    set kept [half [expr {$at+52}]]
    set first [word [expr {$at+56}]]
  }
  set size [expr {64+($word_size+$place_size)*$n+8-$place_size}]
  set zeros [expr {8-$place_size}]
  set dense [byte [expr {$at+51}]]
  if {$dense} {
    lassign [read_groups $at $n $word_size $place_size] words places size
    incr size [set zeros 8]
  }
  if {[word [expr {$at+40}]]!=[summed $at 64 [expr {$size-64}] $salt]} {
    error "sum of the entries at $at"
  }
  if {$wide && [bytes [expr {$at+49}] 15] ne [string repeat \0 15]} {error "zeros at $at"}
  if {$dense>1} {error "a byte of zeros at $at"}
  if {[bytes [expr {$at+$size-$zeros}] $zeros] ne [string repeat \0 $zeros]} {
    error "zeros at the end of $at"
  }
  if {!$dense} {set words [set places {}]}
  for {set i 0} {$i<$n && !$dense} {incr i} {
    lappend words [number [expr {$at+64+$word_size*$i}] $word_size]
    set place [number [expr {$at+64+$word_size*$n+$place_size*$i}] $place_size]
    lappend places [expr {$base+$place*8}]
  }
  dict create from [word [expr {$at+8}]] to [word [expr {$at+16}]] keys [word [expr {$at+24}]] \
      shared [half [expr {$at+36}]] is_root [byte [expr {$at+48}]] words $words places $places \
      wide $wide kept $kept first $first dense $dense
}
# Is that what a leaf has of the word of a key?
proc agrees {leaf has word} {
  if {![dict get $leaf dense]} {return [expr {$has==$word}]}
  lassign $has first shift part
  expr {$word>=$first && ($word-$first)>>$shift==$part}
}
# Whose words they are: the kept bits of a key's word; an error where the others are not those of
# the first.
proc packed {node word} {
  set packed 0
  for {set i 0} {$i<8} {incr i} {
    set bits [expr {[dict get $node kept]>>4*$i & 15}]
    if {$bits==15} break
    set byte [expr {$word>>(56-8*$i) & 255}]
    set of_first [expr {[dict get $node first]>>(56-8*$i) & 255}]
    if {![dict get $node wide] && $byte>>$bits!=$of_first>>$bits} {
      error "bits that all keys have"
    }
    set packed [expr {$packed<<$bits | ($byte & (1<<$bits)-1)}]
  }
  return $packed
}
proc check_leaf {leaf at records} {
  set before {}
  set form [expr {[dict get $leaf dense] ? "dense" : "narrow"}]
  incr ::leaves([expr {[dict get $leaf wide] ? "wide" : $form}])
  foreach word [dict get $leaf words] place [dict get $leaf places] {
    set record [dict get $records $place]
    set key [dict get $record key]
    if {[dict get $record kind]!=1 || [dict get $record prev]!=0} {error "no first record: $place"}
    if {$place<[dict get $leaf from] || $place>=[dict get $leaf to]} {error "$place is outside"}
    if {![agrees $leaf $word [packed $leaf [key_word $key [dict get $leaf shared]]]]} {
      error "word of $place in $at"
    }
    if {$before ne {}} {
      set shared [expr {[dict get $leaf shared]-1}]
      if {[string compare [lindex $before 0] $key]>=0} {error "order at $place"}
      if {[string range [lindex $before 0] 0 $shared] ne [string range $key 0 $shared]} {
        error "shared bytes at $place"
      }
    }
    set before [list $key]
  }
}
proc read_run {at salt records} {
  set root [read_node $at $salt]
  set leaves [expr {[dict get $root is_root] ? [dict get $root places] : [list $at]}]
  set places {}
  foreach payload $leaves word [dict get $root words] {
    if {$payload eq {}} break
    set leaf [read_node $payload $salt]
    check_leaf $leaf $payload $records
    set first [dict get $records [lindex [dict get $leaf places] 0] key]
    if {[dict get $root is_root] && $word!=[key_word $first [dict get $root shared]]} {
      error "word of the leaf at $payload"
    }
    lappend places {*}[dict get $leaf places]
  }
  if {[llength $places]!=[dict get $root keys]} {error "keys of the run at $at"}
  set keys [lmap place $places {dict get $records $place key}]
  if {$keys ne [in_order $keys] || [llength [lsort -unique $keys]]!=[llength $keys]} {
    error "order of the run at $at"
  }
  list [dict get $root from] [dict get $root to] $places
}
proc is_text {record} {
  if {[dict get $record key_flags]} {return [expr {[dict get $record key_flags]==32}]}
  set key [dict get $record key]
  # Tcl reads what is no UTF-8 as other characters.
  expr {![string match *\0* $key]
    && [encoding convertto utf-8 [encoding convertfrom utf-8 $key]] eq $key}
}
proc types_below {to records} {
  set types 1
  dict for {at record} $records {
    if {$at<$to && [dict get $record kind]==1} {
      set types [expr {$types | ([is_text $record] ? 2 : 4)}]
    }
  }
  return $types
}
# The newest list and its runs.  Each first record of a key below `to` is in one of them, once.
proc read_order {committed salt records} {
  set list [word 360]
  set n [word [expr {$list+24}]]
  set to [word [expr {$list+8}]]
  if {[word $list]!=[summed $list 8 [expr {56+8*$n}] $salt]} {error "sum of the list"}
  if {[bytes [expr {$list+40}] 24] ne [string repeat \0 24]} {error "zeros of the list"}
  set types [word [expr {$list+32}]]
  if {$types!=0 && $types!=[types_below $to $records]} {error "types of the list"}
  if {$to>$committed} {error "the list goes past committed"}
  set runs {}
  set all {}
  set before 4096
  for {set i 0} {$i<$n} {incr i} {
    set run [read_run [word [expr {$list+64+8*$i}]] $salt $records]
    if {[lindex $run 0]<$before || [lindex $run 1]>$to} {error "stretch of run $i"}
    set before [lindex $run 1]
    lappend all {*}[lindex $run 2]
    lappend runs $run
  }
  set first {}
  dict for {at record} $records {
    if {$at<$to && [dict get $record kind]==1 && [dict get $record prev]==0} {lappend first $at}
  }
  if {[lsort -integer $all] ne $first} {error "entries are missing, or there are more"}
  list $to [word [expr {$list+16}]] $runs
}
