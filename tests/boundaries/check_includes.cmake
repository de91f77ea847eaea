# Holds the tree to the table of SONDER_DEPENDS_<area> in the top CMakeLists.txt: which area may include headers of which.
# Called with -DROOT=<project> -DAREAS=<a,b,...> and -DDEPENDS_<area>=<a,b,...> for each. Tests, benchmarks and fuzz targets
# stand beside the code and may reach further.
cmake_minimum_required(VERSION 3.25)
string(REPLACE "," ";" AREAS "${AREAS}")
set(wrong)

function(check_files area allowed)
  foreach(file IN LISTS ARGN)
    if(file MATCHES "_(test|bench|fuzz|probe|rig)\\.(cpp|h)$|/testing_plugins/|/example/|/testing/")
      continue()
    endif()
    file(STRINGS ${file} lines REGEX "^#include \"[a-z_]+/")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE "^#include \"([a-z_]+)/.*" "\\1" included "${line}")
      if(line MATCHES "^#include \"log/embedded/")
        set(included "log/embedded")
      elseif(included STREQUAL "sonder")
        set(included sdk)
      endif()
      if(NOT included STREQUAL area AND NOT included IN_LIST allowed)
        file(RELATIVE_PATH place ${ROOT} ${file})
        string(APPEND wrong "${place}: includes ${included}/, which ${area} may not depend on: ${line}\n")
      endif()
    endforeach()
  endforeach()
  set(wrong "${wrong}" PARENT_SCOPE)
endfunction()

foreach(area IN LISTS AREAS)
  string(REPLACE "," ";" allowed "${DEPENDS_${area}}")
  file(GLOB files ${ROOT}/pipeline/${area}/*.h ${ROOT}/pipeline/${area}/*.cpp ${ROOT}/pipeline/${area}/include/sonder/*)
  check_files(${area} "${allowed}" ${files})
endforeach()

# A plugin of ours is built as a third party's would be: the SDK, its own files, and the text library beside it.
file(GLOB_RECURSE files ${ROOT}/plugins/*.h ${ROOT}/plugins/*.cpp)
check_files(plugins "sdk;text;sentiment;anonymizer;consent_filter" ${files})

if(wrong)
  message(FATAL_ERROR "dependencies against the table in CMakeLists.txt:\n${wrong}")
endif()
