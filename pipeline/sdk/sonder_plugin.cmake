# sonder_plugin(<name> SOURCES ... MANIFEST manifest.json [LINK ...] [OUTPUT_DIRECTORY dir]): one plugin, as target plugin_<name>.
#
# Makes <build>/plugins/<name>.so: exports sonder_plugin_entry and nothing else, carries the manifest in the ELF section
# `.sonder_manifest`, and has no symbol that other libraries could replace. The manifest is checked to be JSON with an `id`, a
# `version` and an `abi` on each build that follows a change of it; `sonder inspect` checks the rest. Works the same inside and
# outside of Sonder's tree, in C and in C++.
include_guard(GLOBAL)

function(sonder_plugin name)
  cmake_parse_arguments(arg "" "MANIFEST;OUTPUT_DIRECTORY" "SOURCES;LINK" ${ARGN})
  if(NOT arg_SOURCES OR NOT arg_MANIFEST OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "sonder_plugin(${name}): wants SOURCES ... MANIFEST manifest.json [LINK ...]")
  endif()
  get_filename_component(manifest ${arg_MANIFEST} ABSOLUTE)
  sonder_plugin_manifest_check(${name} ${manifest})

  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  set(embed ${CMAKE_CURRENT_BINARY_DIR}/${name}_manifest.c)
  if(NOT C IN_LIST languages)
    set(embed ${CMAKE_CURRENT_BINARY_DIR}/${name}_manifest.cpp)
  endif()
  file(CONFIGURE OUTPUT ${embed} @ONLY CONTENT "#include \"sonder/embed_manifest.h\"\nSONDER_EMBED_MANIFEST(\"@manifest@\")\n")
  set_source_files_properties(${embed} PROPERTIES OBJECT_DEPENDS ${manifest})

  set(target plugin_${name})
  add_library(${target} MODULE ${arg_SOURCES} ${embed})
  if(NOT arg_OUTPUT_DIRECTORY)
    set(arg_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
  endif()
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${name} PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY ${arg_OUTPUT_DIRECTORY}
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON
    LINK_DEPENDS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/sonder_plugin.map)
  target_link_libraries(${target} PRIVATE sonder::sdk ${arg_LINK})
  if(TARGET sonder_flags)
    target_link_libraries(${target} PRIVATE sonder_flags)
  endif()
  # STB_GNU_UNIQUE symbols would be shared between plugins, whatever their visibility. Only gcc makes them.
  target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fno-gnu-unique>)
  target_link_options(${target} PRIVATE
    "LINKER:--version-script=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/sonder_plugin.map" LINKER:--exclude-libs,ALL LINKER:-Bsymbolic)
  if(NOT SONDER_SANITIZE)
    target_link_options(${target} PRIVATE LINKER:-z,defs)
  endif()
endfunction()

# Stops with the manifest's name if it is not a JSON object with the properties that every reader needs.
function(sonder_plugin_manifest_check name manifest)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${manifest})
  if(NOT EXISTS ${manifest})
    message(FATAL_ERROR "sonder_plugin(${name}): no manifest at ${manifest}")
  endif()
  file(READ ${manifest} text)
  # As the only entry of an array, since string(JSON) does not mind what follows a document.
  string(JSON count ERROR_VARIABLE wrong LENGTH "[${text}\n]")
  if(wrong OR NOT count EQUAL 1)
    message(FATAL_ERROR "${manifest}: is not one JSON object: ${wrong}")
  endif()
  foreach(path "id" "version" "abi;major" "abi;minor")
    string(JSON ignored ERROR_VARIABLE wrong GET "${text}" ${path})
    if(wrong)
      message(FATAL_ERROR "${manifest}: ${wrong} (looking for \"${path}\")")
    endif()
  endforeach()
endfunction()
