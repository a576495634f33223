# http_json.tcl - JSON as typed Tcl values, and the part of JSON Schema that openapi.json uses.
#
#   json_parse TEXT            {object {NAME VALUE ...}} {array {VALUE ...}} {string S} {number N}
#                              {boolean true|false} {null {}}
#   json_get VALUE NAME ...  a member, element or member of an element, as a plain string, list or
#   dict of typed values json_has VALUE NAME ...
#   schema_check DOCUMENT SCHEMA VALUE  {} or what is wrong: DOCUMENT is where $ref looks, SCHEMA a
#   typed value
#
# A schema with a keyword that schema_check does not know is an error: it would be a promise that
# nobody tests.

proc json_parse {text} {
  set at 0
  set value [json_value $text at]
  if {[regexp -start $at {\A\s*\S} $text]} {
    error "more after the JSON: [string range $text $at [expr {$at+30}]]"
  }
  return $value
}
proc json_token {text varname re} {
  upvar 1 $varname at
  if {![regexp -indices -start $at "\\A\\s*($re)" $text all found]} {
    error "not JSON at $at: [string range $text $at [expr {$at+30}]]"
  }
  set at [expr {[lindex $all 1]+1}]
  string range $text {*}$found
}
proc json_value {text varname} {
  upvar 1 $varname at
  set token [json_token $text at {[\[\{]|"(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+|true|false|null}]
  switch -glob -- $token {
    \{      {return [list object [json_members $text at]]}
    \\\[    {return [list array [json_elements $text at]]}
    \"*     {return [list string [json_string $token]]}
    true    -
    false   {return [list boolean $token]}
    null    {return {null {}}}
    default {
      if {![regexp {^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$} $token]} {error "not a number: $token"}
      return [list number $token]
    }
  }
}
proc json_string {token} {
  set text [string range $token 1 end-1]
  if {[regexp {[\x00-\x1f]} $text]} {error "a control character in $token"}
  if {[string first \\ $text]<0} {return $text}
  set out {}
  set at 0
  while {[regexp -indices -start $at {\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))} $text all code char]} {
    append out [string range $text $at [expr {[lindex $all 0]-1}]]
    if {[lindex $code 0]>=0} {append out [format %c [scan [string range $text {*}$code] %x]]
    } else {append out [string map {b \b f \f n \n r \r t \t} [string range $text {*}$char]]}
    set at [expr {[lindex $all 1]+1}]
  }
  append out [string range $text $at end]
}
proc json_members {text varname} {
  upvar 1 $varname at
  set members {}
  set token [json_token $text at {\}|"(?:[^"\\]|\\.)*"}]
  while {$token ne "\}"} {
    set name [json_string $token]
    if {[dict exists $members $name]} {error "the member $name twice"}
    json_token $text at :
    dict set members $name [json_value $text at]
    if {[json_token $text at {[,\}]}] eq "\}"} break
    set token [json_token $text at {"(?:[^"\\]|\\.)*"}]
  }
  return $members
}
proc json_elements {text varname} {
  upvar 1 $varname at
  set elements {}
  if {[regexp -indices -start $at {\A\s*\]} $text all]} {
    set at [expr {[lindex $all 1]+1}]
    return {}
  }
  while 1 {
    lappend elements [json_value $text at]
    if {[json_token $text at {[,\]]}] eq "\]"} {return $elements}
  }
}

proc json_step {value name} {
  lassign $value kind content
  switch $kind {
    object {if {[dict exists $content $name]} {return [dict get $content $name]}}
    array  {if {[string is integer -strict $name] && $name<[llength $content]}\
        {return [lindex $content $name]}}
  }
  error "no $name in a JSON $kind"
}
proc json_at {value args} {
  foreach name $args {set value [json_step $value $name]}
  return $value
}
proc json_get {value args} {lindex [json_at $value {*}$args] 1}
proc json_has {value args} {expr {![catch {json_at $value {*}$args}]}}

# ------------------------------------------------------------------------------------------ schemas
proc schema_resolve {document schema} {
  while {[json_has $schema \$ref]} {
    set path [split [json_get $schema \$ref] /]
    if {[lindex $path 0] ne "#"} {error "a reference to elsewhere: $path"}
    set schema [json_at $document {*}[lrange $path 1 end]]
  }
  return $schema
}

proc schema_check {document schema value {place {}}} {
  set schema [schema_resolve $document $schema]
  lassign $value kind content
  if {$kind eq "null" && [json_has $schema nullable] && [json_get $schema nullable]} {return {}}
  set wrong {}
  dict for {word rule} [lindex $schema 1] {
    set want [lindex $rule 1]
    switch $word {
      type {
        set ok [switch $want {
          integer {expr {$kind eq "number" && [string is entier -strict $content]}}
          default {string equal $kind $want}
        }]
        if {!$ok} {lappend wrong "$place: a $kind, not $want"}
      }
      enum       {if {[list $kind $content] ni $want} {lappend wrong "$place: $content is none of\
          $want"}}
      pattern    {if {![regexp -- $want $content]} {lappend wrong "$place: $content does not match\
          $want"}}
      minimum    {if {$kind eq "number" && $content<$want} {lappend wrong "$place: $content is\
          below $want"}}
      maximum    {if {$kind eq "number" && $content>$want} {lappend wrong "$place: $content is\
          above $want"}}
      minLength  {if {[string length $content]<$want} {lappend wrong "$place: too short"}}
      maxItems   {if {[llength $content]>$want} {lappend wrong "$place: too many items"}}
      items      {set i -1; foreach item $content {lappend wrong {*}[schema_check $document $rule \
          $item $place/[incr i]]}}
      required   {foreach name $want {if {![dict exists $content [lindex $name 1]]} \
          {lappend wrong "$place: no [lindex $name 1]"}}}
      properties {dict for {name one} $want {if {[dict exists $content $name]} \
          {lappend wrong {*}[schema_check $document $one [dict get $content $name] $place/$name]}}}
      additionalProperties {
        if {!$want} {
          foreach name [dict keys $content] {
            if {![json_has $schema properties $name]} {
              lappend wrong "$place: $name is not described"
            }
          }
        }
      }
      oneOf {
        set failures [lmap one $want {schema_check $document $one $value $place}]
        if {[llength [lsearch -all -exact $failures {}]]!=1} {
          lappend wrong "$place: not exactly one of oneOf: $failures"
        }
      }
      nullable - description - format - default {}
      default {error "schema_check does not know $word"}
    }
  }
  return $wrong
}
