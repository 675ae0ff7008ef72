# What `cmake --install` copies: the command line (tools/CMakeLists.txt), headers,
# static libraries, CMake packages, pkg-config files, ready policy files.
include(CMakePackageConfigHelpers)

# What a plug-in needs: two headers and nothing else.
add_library(tidegate_plugin INTERFACE)
add_library(tidegate::plugin ALIAS tidegate_plugin)
target_include_directories(tidegate_plugin INTERFACE
  "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>"
  "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
set_target_properties(tidegate_plugin PROPERTIES EXPORT_NAME plugin)

set(tidegate_config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/tidegate")
install(TARGETS tidegate_plugin EXPORT tidegatePluginTargets)
install(EXPORT tidegatePluginTargets NAMESPACE tidegate::
        DESTINATION "${tidegate_config_dir}")

set(tidegate_core estimators policies scheduler plugins simulator rivals)
foreach(name ${tidegate_core} service)
  set_target_properties(tidegate_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(tidegate_${name} PUBLIC cxx_std_20)
endforeach()
list(TRANSFORM tidegate_core PREPEND tidegate_)
install(TARGETS tidegate ${tidegate_core} EXPORT tidegateTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT tidegateTargets NAMESPACE tidegate::
        DESTINATION "${tidegate_config_dir}")
# Apart, since it alone needs an event loop and prometheus-cpp.
install(TARGETS tidegate_service EXPORT tidegateServiceTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT tidegateServiceTargets NAMESPACE tidegate::
        DESTINATION "${tidegate_config_dir}")

configure_package_config_file(
  "${CMAKE_SOURCE_DIR}/cmake/tidegateConfig.cmake.in"
  "${CMAKE_BINARY_DIR}/tidegateConfig.cmake"
  INSTALL_DESTINATION "${tidegate_config_dir}")
write_basic_package_version_file(
  "${CMAKE_BINARY_DIR}/tidegateConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/tidegateConfig.cmake"
              "${CMAKE_BINARY_DIR}/tidegateConfigVersion.cmake"
        DESTINATION "${tidegate_config_dir}")

install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/tidegate"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY "${CMAKE_SOURCE_DIR}/policy_files"
        DESTINATION "${CMAKE_INSTALL_DATADIR}/tidegate"
        FILES_MATCHING PATTERN "*.toml")
# Relative, so that a prefix given at install time holds.
file(RELATIVE_PATH tidegate_pc_prefix
     "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
set(tidegate_dl_flags "")
if(CMAKE_DL_LIBS)
  set(tidegate_dl_flags "-l${CMAKE_DL_LIBS}")
endif()
foreach(name tidegate tidegate-plugin)
  configure_file("${CMAKE_SOURCE_DIR}/cmake/${name}.pc.in"
                 "${CMAKE_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${CMAKE_BINARY_DIR}/${name}.pc"
          DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()
