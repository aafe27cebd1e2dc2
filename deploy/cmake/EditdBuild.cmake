# The flags of each build, and the functions that declare our targets.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib/editd)
set(EDITD_PLUGIN_DIRECTORY ${PROJECT_BINARY_DIR}/lib/editd/plugins)
set(CMAKE_BUILD_TYPE "" CACHE STRING "unused: see EDITD_BUILD" FORCE)

if(EDITD_BUILD STREQUAL "release")
  add_compile_options(-O2 -g1 -DNDEBUG)
elseif(EDITD_BUILD STREQUAL "debug")
  add_compile_options(-O0 -g)
elseif(EDITD_BUILD STREQUAL "asan")
  add_compile_options(-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(EDITD_BUILD STREQUAL "tsan")
  add_compile_options(-O1 -g -fno-omit-frame-pointer -fsanitize=thread)
  add_link_options(-fsanitize=thread)
  include_directories(${PROJECT_SOURCE_DIR}/deploy/cmake/tsan)  # See the header there.
elseif(EDITD_BUILD STREQUAL "fuzz")
  add_compile_options(-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
else()
  message(FATAL_ERROR "EDITD_BUILD is '${EDITD_BUILD}'; it is one of release, debug, asan, tsan, fuzz")
endif()

# Every test of a sanitizer's build, with all processes that it starts, runs under these options, and may take longer.
set(EDITD_TEST_SLOWNESS 1)
if(EDITD_BUILD STREQUAL "tsan" OR EDITD_BUILD STREQUAL "asan")
  set(EDITD_TEST_SLOWNESS 5)
  set(options ${PROJECT_BINARY_DIR}/sanitizer_options.cmake)
  configure_file(${PROJECT_SOURCE_DIR}/deploy/cmake/sanitizer_options.cmake.in ${options} @ONLY)
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY TEST_INCLUDE_FILES ${options})
endif()

find_program(EDITD_MOLD mold)
if(EDITD_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
find_program(EDITD_CCACHE ccache)
if(EDITD_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${EDITD_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${EDITD_CCACHE})
endif()
# One link at a time beside one compilation keeps two cores and little memory busy but not drowned.
set_property(GLOBAL PROPERTY JOB_POOLS link=2)
set(CMAKE_JOB_POOL_LINK link)

include_directories(${PROJECT_SOURCE_DIR})

set(EDITD_WARNINGS -Wall -Wextra -Werror)

# editd_plugin(NAME ...): see there; an installation has the same function.
include(${PROJECT_SOURCE_DIR}/plugins/sdk/cmake/EditdPlugin.cmake)
set(EDITD_PROTO_DIR ${PROJECT_SOURCE_DIR}/proto)          # Where editd/v1/options.proto is,
set(EDITD_PLUGIN_PROTO_ROOT ${PROJECT_SOURCE_DIR}/proto)  # and our plugins' messages.

# editd_library(NAME SOURCES ... DEPS ...): a static library of ours.
function(editd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${EDITD_WARNINGS})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
endfunction()

# editd_executable(NAME SOURCES ... DEPS ...): a program of ours, installed into bin.
function(editd_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${EDITD_WARNINGS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# editd_test(NAME SOURCES ... DEPS ...): a googletest program, a ctest of the same name. It finds files that lie beside
# its source through EDITD_SOURCE_DIR.
function(editd_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS" ${ARGN})
  if(EDITD_BUILD STREQUAL "fuzz")
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${EDITD_WARNINGS})
  target_compile_definitions(${name} PRIVATE EDITD_SOURCE_DIR="${PROJECT_SOURCE_DIR}" EDITD_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  math(EXPR timeout "${ARG_TIMEOUT} * ${EDITD_TEST_SLOWNESS}")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout})
endfunction()

# editd_fuzzer(NAME SOURCES ... DEPS ... CORPUS folder): a libFuzzer program (build "fuzz"). In every other build the
# same source is linked with a driver that runs each file of the corpus once, so that no fuzzer rots. The target
# "fuzzers" is all of them.
add_custom_target(fuzzers)
function(editd_fuzzer name)
  cmake_parse_arguments(ARG "" "CORPUS" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  add_dependencies(fuzzers ${name})
  target_compile_options(${name} PRIVATE ${EDITD_WARNINGS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  if(EDITD_BUILD STREQUAL "fuzz")
    target_link_libraries(${name} PRIVATE ${ARG_DEPS} -fsanitize=fuzzer)
    add_test(NAME ${name} COMMAND ${name} -seed=1 -max_total_time=10 -rss_limit_mb=2048 -timeout=10
             ${PROJECT_BINARY_DIR}/fuzz/${name}.found ${ARG_CORPUS})
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz/${name}.found)
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/run_corpus.cc)
    target_link_libraries(${name} PRIVATE ${ARG_DEPS})
    add_test(NAME ${name} COMMAND ${name} ${ARG_CORPUS})
  endif()
endfunction()
