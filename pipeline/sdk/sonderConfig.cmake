# find_package(sonder) gives sonder::sdk, sonder::testing_host and the function sonder_plugin().
include(${CMAKE_CURRENT_LIST_DIR}/sonder_targets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/sonder_plugin.cmake)
