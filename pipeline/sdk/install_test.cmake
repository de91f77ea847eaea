# cmake -DBUILD=<build of sonder> -DSOURCE=<this folder> -DWORK=<scratch folder> [-DFLAGS=...] -P install_test.cmake
# Installs the SDK into an empty prefix, copies the example out of the tree, and builds and tests it there with nothing but what was
# installed: once by find_package, once by pkg-config.
function(must)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\nended with ${status}:\n${said}")
  endif()
  set(said "${said}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK}/pkg)
file(COPY ${SOURCE}/example/ DESTINATION ${WORK}/example)
must(${CMAKE_COMMAND} --install ${BUILD} --component sdk --prefix ${WORK}/prefix)

# Nothing that was installed may point back into the tree or the build.
file(GLOB_RECURSE installed ${WORK}/prefix/*.cmake ${WORK}/prefix/*.pc ${WORK}/prefix/*.h ${WORK}/prefix/*.hpp)
foreach(path IN LISTS installed)
  file(READ ${path} text)
  foreach(place IN ITEMS ${BUILD} ${SOURCE})
    string(FIND "${text}" "${place}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${path} names ${place}")
    endif()
  endforeach()
endforeach()

must(${CMAKE_COMMAND} -S ${WORK}/example -B ${WORK}/build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${WORK}/prefix)
must(${CMAKE_COMMAND} --build ${WORK}/build)
must(${CMAKE_CTEST_COMMAND} --test-dir ${WORK}/build --output-on-failure)
must(nm -D --defined-only ${WORK}/build/plugins/word_count.so)
string(REGEX MATCHALL "[^\n]+" exported "${said}")
list(LENGTH exported count)
if(NOT count EQUAL 1 OR NOT "${said}" MATCHES " T sonder_plugin_entry")
  message(FATAL_ERROR "word_count.so exports:\n${said}")
endif()

file(GLOB pkgconfig ${WORK}/prefix/lib*/pkgconfig ${WORK}/prefix/lib*/*/pkgconfig)
must(make -C ${WORK}/example OUT=${WORK}/pkg check PKG_CONFIG_PATH=${pkgconfig})

# A manifest that is no JSON stops the build with its name.
file(APPEND ${WORK}/example/manifest.json "oops")
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/build RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
if(status EQUAL 0 OR NOT "${said}" MATCHES "example/manifest.json")
  message(FATAL_ERROR "a damaged manifest was built:\n${said}")
endif()
